"""asv's benchmarks of hotloop: one file for each thing a user waits for.

Every number is better when it is lower, since asv takes an increase for a regression.
"""
