"""INTERIM"""
import yaml
from i2vbench.errors import UserError
def load_yaml(text, what, **k):
    try:
        return yaml.safe_load(text)
    except Exception as e:
        raise UserError(f"{what} is not YAML ({type(e).__name__})") from e
