"""What README shows of the result files, row by row; `benchmarks.tables` writes it."""
