"""Networks of ONNX files as modules of torch: a walk over the file's nodes, and a table of operators."""
