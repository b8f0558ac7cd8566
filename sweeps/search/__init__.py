"""Hyper-parameter search: one driver asks and tells Optuna, workers train ordinary runs.

The driver is the only writer of the study. It puts the runs of every trial into a queue, a folder
of the run store; workers train what lies there as any run is trained. What a trial is worth is
read from the runs' own records, and only from their validation figures: every run of a search,
its teacher included, evaluates on the validation split alone, so that the test images are not
even loaded. A killed driver starts again from the study and the run store.

experiment.py  what a search may say, checked before anything starts
space.py       ranges and choices, from the methods' own declarations
plan.py        which runs a trial needs
sampling.py    samplers and pruners
study.py       Optuna's storage
trials.py      what a trial's runs say: intermediate values, objective, failures
driver.py      asks, prunes, tells
method_study.py  the study of one method
queue.py       the runs that workers are to train;  queue_source.py a worker's side of it
outage.py      waits for a database that does not answer
export.py      the whole study as one file
launch.py      all of it together
cost.py        what the driver costs per trial, for ``make bench``
"""
