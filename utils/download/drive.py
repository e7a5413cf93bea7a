"""Google Drive: the address of a file's bytes, and the files of a folder (by gdown).

Drive answers with a page of questions for large files, and with a page of regret when too many
people took one within a day.
"""

import requests

from utils.download.transfer import AddressError, connect_timeout

DRIVE = "https://drive.google.com"
_PAGES = 3  # of questions, at most


def direct_address(session: requests.Session, file_id: str) -> str:
    """The address that answers with the bytes of a file.

    Raises AddressError where Drive answers with a page that leads to none.
    """
    from gdown.download import get_url_from_gdrive_confirmation
    from gdown.exceptions import FileURLRetrievalError

    url = f"{DRIVE}/uc?export=download&id={file_id}"
    for _ in range(_PAGES):
        with session.get(url, stream=True, timeout=connect_timeout()) as response:
            if response.status_code >= 400:
                raise AddressError(f"Google Drive answers {response.status_code}")
            if "text/html" not in response.headers.get("Content-Type", ""):
                return url
            page = response.text
        if "quota" in page.lower() or "too many users" in page.lower():
            raise AddressError(
                "Google Drive's quota for this file is used up for now (try again in a day)"
            )
        try:
            url = get_url_from_gdrive_confirmation(page)
        except FileURLRetrievalError as error:
            raise AddressError("Google Drive answers with a page instead of the file") from error
    raise AddressError("Google Drive answers with one page after the other")


def file_in_folder(folder_id: str, name: str) -> str:
    """The id of the file with that name anywhere in a folder.

    Raises AddressError where the folder can't be listed or has none.
    """
    import gdown
    from gdown.exceptions import DownloadError, FileURLRetrievalError

    try:
        files = gdown.download_folder(
            id=folder_id, skip_download=True, quiet=True, use_cookies=False, timeout=30
        )
    except requests.RequestException:
        raise
    except (DownloadError, FileURLRetrievalError, RuntimeError, AttributeError) as error:
        raise AddressError(
            "Google Drive does not list the folder (its quota may be used up)"
        ) from error
    for file in files or ():
        if file.path.rpartition("/")[2] == name:
            return file.id
    raise AddressError(f"Google Drive's folder has no {name}")
