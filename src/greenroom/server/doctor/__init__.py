"""What `greenroom doctor` does: compares registry, leases and live sockets of the whole cluster, and explains."""

from greenroom.server.doctor.examination import Examination, examine, examine_engine, repair
from greenroom.server.doctor.findings import Finding, Severity
from greenroom.server.doctor.roll_call import NodeReport, RollCall

__all__ = ["Examination", "Finding", "NodeReport", "RollCall", "Severity", "examine", "examine_engine", "repair"]
