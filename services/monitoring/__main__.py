from services.monitoring.wiring import SERVICE
from shared.cli import main

main(SERVICE)
