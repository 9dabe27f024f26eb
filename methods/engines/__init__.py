"""The frozen backbone run by another engine than torch's: ONNX Runtime or OpenVINO, on the CPU."""
