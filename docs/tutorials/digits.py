"""
Title
=====

Text.
"""

print(1)
