"""One run or many: the assembly of a training job, train, seeds, evaluation of a saved model; `tune/`, `compare/`.

Used by the jobs; `assembly` also by the doctor.
"""
