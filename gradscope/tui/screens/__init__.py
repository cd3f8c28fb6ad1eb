"""Whole screens on top of the instrument: help, findings, prompts."""
