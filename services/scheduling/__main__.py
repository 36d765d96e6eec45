from services.scheduling.wiring import SERVICE
from shared.cli import main

main(SERVICE)
