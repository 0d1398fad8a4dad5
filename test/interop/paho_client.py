"""
One device with Eclipse's Python client: subscribes, publishes at every QoS, prints what it heard as JSON.
usage: paho_client.py PORT 4|5 ID CA CERT KEY TOPIC
"""

import json
import ssl
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

port, level, name, ca, cert, key, topic = sys.argv[1:]
v5 = level == "5"
heard = []
done = threading.Event()

client = mqtt.Client(client_id=name, protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311)
client.tls_set(ca_certs=ca, certfile=cert, keyfile=key, tls_version=ssl.PROTOCOL_TLS_CLIENT)
client.tls_insecure_set(True)


def subscribed(client, userdata, mid, granted, properties=None):
    for qos in (0, 1, 2):
        properties = None
        if v5:
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = ("colour", "blue")
            properties.TopicAlias = 1
        client.publish(topic, f"q{qos}", qos=qos, properties=properties)


def message(client, userdata, received):
    pairs = getattr(received.properties, "UserProperty", []) if v5 else []
    heard.append([received.topic, received.payload.decode(), received.qos, [list(pair) for pair in pairs]])
    if len(heard) == 3:
        done.set()


client.on_connect = lambda *_: client.subscribe(topic, qos=2)
client.on_subscribe = subscribed
client.on_message = message
client.connect("127.0.0.1", int(port))
client.loop_start()
finished = done.wait(10)
client.disconnect()
client.loop_stop()
print(json.dumps(heard))
sys.exit(0 if finished else 1)
