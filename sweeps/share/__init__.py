"""Results that travel: archives of finished runs, joined into other run stores, and run again.

archive.py    what an archive holds, read and written; a run store is read in the same way
anonymous.py  takes host names and absolute paths out of records
export.py     finished runs of an experiment -> one archive
merge.py      archives and run stores -> one run store; two results of one run are never mixed
compare.py    where two results of one run depart
repeat.py     a run trained again from its record, and compared
reported.py   figures of other code bases, from a CSV
"""
