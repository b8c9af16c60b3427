from .desk import ArticleEdit, DeskBoard, PhotoUpload, bulk_publish, republish, retitle
from .public import (
    ArticleDetail,
    SectionIndex,
    archive,
    article_json,
    author_page,
    breaking,
    compare,
    front,
    headline_of_the_day,
    latest_per_section,
    most_read_json,
    printable,
    search,
    tag_cloud,
)
from .streams import download_issue, export_comments, feed_stream, live_stream, photo_file, stream_tail, ticker
