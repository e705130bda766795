"""What generates, checks or prepares files of this repository; the relay itself needs none of it."""
