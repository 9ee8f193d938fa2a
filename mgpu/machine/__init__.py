"""Reads the host: its GPUs, who holds them, what is installed, which ports are taken. Changes nothing but leases."""
