"""Models as files: folders, checkpoints and ONNX."""
