"""What `greenroom doctor` does: compares registry, leases and live sockets of the whole cluster, and explains."""

from greenroom.server.cluster.doctor.examination import Examination, examine, examine_engine, repair
from greenroom.server.cluster.doctor.findings import Finding, Severity
from greenroom.server.cluster.doctor.survey import Survey

__all__ = ["Examination", "Finding", "Severity", "Survey", "examine", "examine_engine", "repair"]
