"""Measurements that anybody can run again: `python -m benchmarks NAME`. See README.md."""
