"""Change a saved model as a forger would: with checksums that fit."""

from __future__ import annotations

import hashlib
import json

from safetensors.torch import load_file, save


def weights_file(folder):
    """The file with the weights of the saved model in `folder`."""
    (path,) = folder.glob("*.safetensors")
    return path


def forge_config(folder, change):
    """Apply `change` to the configuration of a saved model."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["sha256"]
    change(config)
    text = json.dumps(config, sort_keys=True).encode()
    config["sha256"] = hashlib.sha256(text).hexdigest()
    path.write_text(json.dumps(config))


def forge_weights(folder, change):
    """Apply `change` to the tensors of a saved model."""
    path = weights_file(folder)
    tensors = load_file(path)
    change(tensors)
    path.unlink()
    replace_weights(folder, save(tensors))


def replace_weights(folder, content):
    """Make `content` the file of weights that the configuration names."""
    digest = hashlib.sha256(content).hexdigest()
    (folder / f"model-{digest[:16]}.safetensors").write_bytes(content)
    forge_config(folder, lambda config: config.update(weights_sha256=digest))
