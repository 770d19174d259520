"""What the Python tests share: processes, waiting, connections. See tests/README.md."""
