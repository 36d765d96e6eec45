from services.notifications.wiring import SERVICE
from shared.cli import main

main(SERVICE)
