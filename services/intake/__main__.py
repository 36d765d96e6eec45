from services.intake.wiring import SERVICE
from shared.service import main

main(SERVICE)
