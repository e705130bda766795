"""What must not be lost: occupancy, events, batches and receipts in one SQLite file."""
