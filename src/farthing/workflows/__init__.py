"""Workflows: what happens by itself.

Owns: duties, which are done again and again as time passes.
Does not own: what a duty does. Each is a use case of the room it belongs to; `app.py` lists them.
Laws: whatever happens by itself may be killed anywhere and done again (law 13); one tenant's trouble does not keep
the work of the others.
"""
