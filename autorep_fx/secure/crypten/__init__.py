"""The CrypTen backend: each party a process, gloo over loopback, CrypTen's tensors underneath."""
