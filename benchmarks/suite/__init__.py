"""asv's benchmarks of hotloop: one file for each thing a user waits for.

Every number is better when it is lower, since asv takes an increase for a regression; except for what a
`track_rate…` gives, which `asv.conf.json` keeps out of the search for regressions.
"""
