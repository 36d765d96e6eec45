from services.scheduling.wiring import SERVICE
from shared.service import main

main(SERVICE)
