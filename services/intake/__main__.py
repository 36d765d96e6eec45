from services.intake.wiring import SERVICE
from shared.cli import main

main(SERVICE)
