"""What runs after the signed request: one Amazon States Language definition per workflow."""
