SELECT item_id, began, title, lang, type
FROM titles
WHERE began >= :start AND began < :end
ORDER BY began, item_id
