"""Can the box AP that the TF2 detection model zoo publishes be reproduced, and if not, why not?"""
