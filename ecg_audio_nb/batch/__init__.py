"""The queue, the warm kernel, and recordings by the thousand"""
