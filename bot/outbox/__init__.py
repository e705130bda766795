"""What must not be lost: occupancy, events, batches and receipts in one SQLite file.

``database`` opens the file, and ``schema/`` has its tables. The relay's SQL is in ``store``, the modules
of the tables (``*_rows``) and ``housekeeping``, that for other processes in ``inspection``. ``losses``
says how a guild recovers whose observations were let go.
"""
