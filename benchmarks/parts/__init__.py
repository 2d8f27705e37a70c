"""What benchmarks and the tests of whole studies share: made-up hospitals, a line counter, ways to spoil a record, ways to kill a run."""
