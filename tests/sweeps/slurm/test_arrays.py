"""Runs become arrays: packed, behind their teachers, never too many at once."""

from hypothesis import given
from hypothesis import strategies as st

from sweeps.plan.expand import expand
from sweeps.slurm.arrays import Array, lanes, student_arrays, teacher_arrays

PLAN = expand("dskd_digits", ["seeds=[0,1,2]"])
TEACHERS = [spec for spec in PLAN.runs if spec.role == "teacher"]
STUDENTS = [spec for spec in PLAN.runs if spec.role == "student"]


def awaited(spec):
    return None if spec.config.teacher is None else "7_0"


def test_every_teacher_has_a_job_of_its_own():
    assert teacher_arrays(TEACHERS * 3, max_size=2) == [
        Array(((TEACHERS[0],), (TEACHERS[0],))),
        Array(((TEACHERS[0],),)),
    ]


def test_students_are_packed_and_wait_for_their_teacher_alone():
    arrays = student_arrays(STUDENTS, awaited, runs_per_job=4, max_size=100)
    taught = [spec for spec in STUDENTS if spec.config.teacher is not None]
    assert [array.after for array in arrays] == [None, "7_0"]
    assert [len(task) for task in arrays[0].tasks] == [3]  # scratch, three seeds
    assert [spec for task in arrays[1].tasks for spec in task] == taught
    assert {len(task) for task in arrays[1].tasks[:-1]} == {4}


def test_no_array_is_larger_than_the_cluster_allows():
    arrays = student_arrays(STUDENTS, awaited, runs_per_job=1, max_size=2)
    assert max(len(array.tasks) for array in arrays) == 2
    assert sum(len(array.tasks) for array in arrays) == len(STUDENTS)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.integers(1, 40))
def test_lanes_hold_every_array_once_and_share_out_all_that_is_allowed(sizes, max_jobs):
    arrays = [Array(((STUDENTS[0],),) * size) for size in sizes]
    found = lanes(arrays, max_jobs)
    assert sorted(len(it.tasks) for lane in found for it in lane.arrays) == sorted(sizes)
    assert sum(lane.limit for lane in found) == max_jobs
    assert min(lane.limit for lane in found) >= 1
