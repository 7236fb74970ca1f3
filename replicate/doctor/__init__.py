"""Will a training run on this machine as it is set up? Every finding with what to do.

    from replicate import doctor
    findings = doctor.examine("runs")
    print(doctor.page(findings))

Nothing here imports TensorFlow, Keras or the Object Detection API: what needs them is asked of a
process of its own (`asked.py`), so the doctor answers where they break, hang or die.
"""

from replicate.doctor.examination import examine
from replicate.doctor.finding import FAIL, OK, WARN, DoctorFinding, page

__all__ = ["FAIL", "DoctorFinding", "OK", "WARN", "examine", "page"]
