from services.monitoring.wiring import SERVICE
from shared.service import main

main(SERVICE)
