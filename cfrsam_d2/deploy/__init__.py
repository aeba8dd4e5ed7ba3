"""Networks exported for ONNX Runtime or as programs of `torch.export`, and models that run them.

`networks` says into which a model falls apart, `exporting` writes them, `running` puts them back.
Everything else, from windows to non-maximum suppression, stays Python: no nucleus is treated in
another way.
"""
