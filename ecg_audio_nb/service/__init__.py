"""The HTTP service and its webhooks"""
