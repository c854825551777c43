"""What processor files in tests begin with."""

USUAL_IMPORTS = """import asyncio, os, signal, time
import anyio
from pydantic import BaseModel
from actiond import *
"""
