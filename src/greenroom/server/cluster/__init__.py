"""This node among others: its lease, recovery, reaping, draining, the directory, the survey, the doctor."""
