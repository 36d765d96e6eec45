from services.notifications.wiring import SERVICE
from shared.service import main

main(SERVICE)
