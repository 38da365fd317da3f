"""The parts of README that programs make: pictures of terminals, and the table of settings."""
