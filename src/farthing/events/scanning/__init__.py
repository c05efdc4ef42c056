"""Lines of events taken apart byte by byte, by functions that are compiled. It only reads and writes bytes in memory.

It does not say what is wrong with a line: what is not as usual is left to the general way of reading.
"""
