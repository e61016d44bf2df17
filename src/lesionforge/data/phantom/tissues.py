"""Attenuation of the phantom's tissues.

Round values in HU at about 120 kVp, chosen by us as typical of adults: no single publication's table. Those named
portal are some 70 s after contrast medium. Blood and enhanced organs vary about them from patient to patient.
"""

FAT_HU = -100.0
MUSCLE_HU = 50.0
SKIN_HU = 20.0
BLOOD_HU = 42.0
CORTICAL_BONE_HU = 850.0
MARROW_HU = 180.0
CARTILAGE_HU = 95.0
DISC_HU = 80.0
NERVE_HU = 25.0
AIRWAY_WALL_HU = 10.0

PORTAL_LIVER_HU = 110.0
PORTAL_SPLEEN_HU = 120.0
PORTAL_KIDNEY_HU = 185.0
PORTAL_BLOOD_HU = 160.0
GUT_HU = 35.0
