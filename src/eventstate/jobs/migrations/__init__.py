"""Migrations: steps that bring the stored documents of jobs to a later schema."""
