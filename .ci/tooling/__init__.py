"""Generators and checks for this repository; the relay itself does not use them."""
