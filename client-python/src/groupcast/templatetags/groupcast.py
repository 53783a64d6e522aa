"""`{% load groupcast %}`."""

from groupcast._progress import register as register
