"""Alembic migrations of the store; applied when a workspace is opened."""
